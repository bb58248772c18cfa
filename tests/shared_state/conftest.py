from tests.support.state_servers import postgres_server, redis_server, shared_postgres, shared_redis, state_server

__all__ = ["postgres_server", "redis_server", "shared_postgres", "shared_redis", "state_server"]
