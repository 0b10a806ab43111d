"""An extension of minicuda; refuses another minicuda than the one it was built against."""

import minicuda
from miniext._native import abi, built_against, quadruple

if minicuda.__version__ != built_against:
    raise ImportError(f"miniext was built against minicuda {built_against}, and finds {minicuda.__version__}")
