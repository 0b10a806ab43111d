#pragma once
// Dependency that minikernels would clone by itself at configure time.
#define MINIFMT_WIDTH 3
