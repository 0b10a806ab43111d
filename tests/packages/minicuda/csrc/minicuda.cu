#include "minicuda.h"

#include <minimath.h>

__global__ void scale_kernel(float *data, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    data[i] = minimath_scale(data[i]);
  }
}

extern "C" float minicuda_scale_host(float x) { return minimath_scale(x); }

extern "C" int minicuda_scale(float *host, int n) {
  float *device = nullptr;
  cudaError_t status = cudaMalloc(&device, n * sizeof(float));
  if (status != cudaSuccess) {
    return status;
  }
  cudaMemcpy(device, host, n * sizeof(float), cudaMemcpyHostToDevice);
  scale_kernel<<<(n + 127) / 128, 128>>>(device, n);
  status = cudaMemcpy(host, device, n * sizeof(float), cudaMemcpyDeviceToHost);
  cudaFree(device);
  return status;
}

extern "C" const char *minicuda_greeting(void) { return "unpatched"; }
extern "C" const char *minicuda_nvcc(void) { return MINICUDA_NVCC; }
extern "C" const char *minicuda_host_compiler(void) { return MINICUDA_HOST; }
extern "C" int minicuda_toolkit(void) { return CUDART_VERSION; }
