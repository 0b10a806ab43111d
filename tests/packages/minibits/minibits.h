#pragma once
// Nested submodule: used by minimath.
#define MINIBITS_DOUBLE(x) ((x) + (x))
