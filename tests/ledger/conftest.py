from tests.support.shared_redis import redis_server, shared_redis

__all__ = ["redis_server", "shared_redis"]
