#pragma once
// Submodule of minicuda; includes its own submodule.
#include "../third_party/minibits/minibits.h"

#ifdef __CUDACC__
#define MINIMATH_BOTH __host__ __device__
#else
#define MINIMATH_BOTH
#endif

MINIMATH_BOTH inline float minimath_scale(float x) { return MINIBITS_DOUBLE(x); }
