from tests.shared_state.conftest import redis_server, shared_redis

__all__ = ["redis_server", "shared_redis"]
