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


@dataclass(slots=True, eq=False)
class Replica:
    """The services over an open store, and what has to be closed after them."""

    config: Config
    services: Services
    store: RedisStore
    embedded: EmbeddedServer | None

    @property
    def has_lost_store(self) -> bool:
        """Whether the embedded store has exited without being told to."""
        return self.embedded is not None and not self.embedded.is_running

    def revive_store(self) -> None:
        """Start the embedded store again, on what it has written. Blocks. Raises EmbeddedServerError if it cannot."""
        assert self.embedded is not None
        url = self.embedded.url
        self.embedded.stop()
        self.embedded = EmbeddedServer.start(self.config.data_dir, fsync=self.config.fsync)
        if self.embedded.url != url:
            raise EmbeddedServerError(f"the embedded store has moved from {url} to {self.embedded.url}")

    async def close(self) -> None:
        """Give up leases, finish what is under way with the store, and end the store if it is ours."""
        try:
            with suppress(StoreUnavailable):  # leases end by themselves
                await self.services.close()
            await self.store.close()
        finally:
            if self.embedded is not None:
                self.embedded.stop()


def open_replica(config: Config, observer: Observer) -> Replica:
    """Open the store and put the services over it. Blocks while an embedded store starts.

    Raises DataDirectoryInUse, EmbeddedServerError, and ConfigError for a store URL of an unknown form.
    """
    embedded = None if config.redis_url else EmbeddedServer.start(config.data_dir, fsync=config.fsync)
    url = config.redis_url if embedded is None else embedded.url
    try:
        store = connect(url, timeout_s=config.store_timeout_s)
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
    return Replica(config=config, services=services, store=store, embedded=embedded)
