"""tpl-service: a small HTTP service that keeps tpl_items and takes orders for them."""

__version__ = "0.1.0"
