"""Toolchains: CUDA toolkits, host compilers and interpreters, found or put together without root."""
