#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define MINICUDA_API 1

/* The same arithmetic on the host, for machines without a GPU. */
float minicuda_scale_host(float x);
/* Scales n floats on the device; returns a cudaError_t as an int. */
int minicuda_scale(float *host, int n);
const char *minicuda_greeting(void);
const char *minicuda_nvcc(void);
const char *minicuda_host_compiler(void);
int minicuda_toolkit(void);

#ifdef __cplusplus
}
#endif
