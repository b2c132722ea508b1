from tests.routers.conftest import context, encoder, examples, pool

__all__ = ["context", "encoder", "examples", "pool"]
