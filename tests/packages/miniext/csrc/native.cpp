#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <miniabi.h>
#include <minicuda.h>

static PyObject *quadruple(PyObject *, PyObject *arg) {
  double value = PyFloat_AsDouble(arg);
  if (PyErr_Occurred()) {
    return nullptr;
  }
  return PyFloat_FromDouble(minicuda_scale_host(minicuda_scale_host(static_cast<float>(value))));
}

static PyMethodDef methods[] = {
    {"quadruple", quadruple, METH_O, "Four times the value, by way of minicuda."},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", nullptr, -1, methods,
                             nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit__native(void) {
  PyObject *self = PyModule_Create(&module);
  if (self != nullptr) {
    PyModule_AddStringConstant(self, "built_against", BUILT_AGAINST);
    PyModule_AddIntConstant(self, "abi", MINIABI_NUMBER);
  }
  return self;
}
