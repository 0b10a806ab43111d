"""Build PyTorch, torchvision, FlashInfer and SGLang from source for a GPU, and prove the result."""

__version__ = "0.1.0"
