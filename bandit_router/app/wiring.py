"""The wiring: the only module that chooses between concrete adapters."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from bandit_router.adapters.encoding import CachedEncoder, SentenceTransformersEncoder, StaticEncoder, make_encoder
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.adapters.system import EmbeddedServer, EmbeddedServerError, SystemClock, SystemEntropy
from bandit_router.app.config import Config, ConfigError
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.contexts import EncoderHandle


class Encoders:
    """One encoder per id, made when first asked for and shared by all pools."""

    def __init__(self) -> None:
        self._handles: dict[str, EncoderHandle] = {}

    def __call__(self, encoder_id: str) -> EncoderHandle:
        """The encoder. Raises ValueError for an unknown id, EncoderError for one that cannot be loaded."""
        if encoder_id not in self._handles:
            encoder = make_encoder(encoder_id)
            self._handles[encoder_id] = EncoderHandle(
                encoder=CachedEncoder(encoder),
                slow=isinstance(encoder, SentenceTransformersEncoder),
                ordered=isinstance(encoder, StaticEncoder),
            )
        return self._handles[encoder_id]


class OwnStore:
    """The embedded store of this process; nothing at all where the configuration names an external one."""

    def __init__(self, config: Config) -> None:
        """Start it. Blocks until it answers. Raises DataDirectoryInUse, EmbeddedServerError."""
        self._config = config
        self._server = None if config.redis_url else self._start()
        self.url = config.redis_url if self._server is None else self._server.url

    @property
    def has_died(self) -> bool:
        """Whether it has exited without being told to."""
        return self._server is not None and not self._server.is_running

    def revive(self) -> None:
        """Start it again, on what it has written. Blocks. Raises EmbeddedServerError if it cannot be."""
        assert self._server is not None
        self._server.stop()
        self._server = self._start()
        if self._server.url != self.url:
            raise EmbeddedServerError(f"the embedded store has moved from {self.url} to {self._server.url}")

    def stop(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.stop()

    def _start(self) -> EmbeddedServer:
        return EmbeddedServer.start(self._config.data_dir, fsync=self._config.fsync)


@dataclass(slots=True, eq=False)
class Replica:
    """The services over an open store, and what has to be closed after them."""

    services: Services
    store: RedisStore
    own_store: OwnStore

    async def close(self) -> None:
        """Give up leases, finish what is under way with the store, and end the store if it is ours."""
        try:
            with suppress(StoreUnavailable):  # leases end by themselves
                await self.services.close()
            await self.store.close()
        finally:
            self.own_store.stop()


def open_replica(config: Config, observer: Observer) -> Replica:
    """Open the store and put the services over it. Blocks while an embedded store starts.

    Raises DataDirectoryInUse, EmbeddedServerError, and ConfigError for a store URL of an unknown form.
    """
    own_store = OwnStore(config)
    try:
        store = connect(own_store.url, timeout_s=config.store_timeout_s)
    except ValueError as refusal:
        raise ConfigError(f"redis_url: {refusal}") from None
    services = assemble(
        store,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        encoders=Encoders(),
        observer=observer,
        retention=config.retention,
        archive=store.archive,
    )
    return Replica(services=services, store=store, own_store=own_store)
