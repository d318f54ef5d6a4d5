"""One replica's services over one set of ports. The server, the in-process router and the simulator all use this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.ports.archive import Archive
from bandit_router.ports.catalog import Catalog
from bandit_router.ports.clock import Clock, Entropy
from bandit_router.ports.events import EventLog
from bandit_router.ports.ledger import Ledger
from bandit_router.ports.observer import Observer
from bandit_router.ports.snapshots import SnapshotStore
from bandit_router.service.admin import AdminService
from bandit_router.service.archiving import ArchiveService
from bandit_router.service.budgets import BudgetService
from bandit_router.service.contexts import ContextBuilder, EncoderSource
from bandit_router.service.defaults import Defaults
from bandit_router.service.directory import Directory
from bandit_router.service.feedback import FeedbackService
from bandit_router.service.learning import Learner
from bandit_router.service.models import Models
from bandit_router.service.outages import Outages
from bandit_router.service.pacing import Pacer
from bandit_router.service.preview import PreviewService
from bandit_router.service.priors import PriorService
from bandit_router.service.projections import ProjectionService
from bandit_router.service.retention import DEFAULT_RETENTION, Retention
from bandit_router.service.route import RouteService
from bandit_router.service.schema_watch import SchemaWatch
from bandit_router.service.sweeping import Sweeper


class Store(Protocol):
    """The four stores of one backend."""

    @property
    def ledger(self) -> Ledger:
        """Money and decisions."""
        ...

    @property
    def events(self) -> EventLog:
        """What happened to them."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """What was learned from it."""
        ...

    @property
    def catalog(self) -> Catalog:
        """What is configured."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Services:
    """A replica."""

    route: RouteService
    feedback: FeedbackService
    admin: AdminService
    budgets: BudgetService
    previews: PreviewService
    projections: ProjectionService
    priors: PriorService
    archives: ArchiveService
    learner: Learner
    sweeper: Sweeper
    defaults: Defaults
    outages: Outages
    directory: Directory
    models: Models
    contexts: ContextBuilder
    schema: SchemaWatch
    store: Store
    clock: Clock
    observer: Observer

    async def start(self) -> None:
        """Check the store's schema and read the catalog. Raises SchemaTooNew, StoreUnavailable.

        A store whose content needs more than it bears (code from between two versions has filled it) bears it then.
        """
        await self.store.catalog.check_schema(SCHEMA_VERSION)
        await self.directory.load()
        await self.store.catalog.raise_schema(self.directory.schema_needed())

    async def refresh(self) -> None:
        """Take over changes that other replicas have made. Raises StoreUnavailable.

        Once newer code has stored what this code would misread, what this replica learns for is left to others.
        """
        await self.directory.refresh()
        if self.schema.is_readable:
            await self.models.refresh_all()
        else:
            await self.learner.release()

    async def close(self) -> None:
        """Write what was decided in an outage, give up leases and stop helpers; the store stays open."""
        await self.outages.close()
        await self.learner.release()
        await self.contexts.close()


def assemble(
    store: Store,
    *,
    clock: Clock,
    entropy: Entropy,
    encoders: EncoderSource,
    observer: Observer,
    retention: Retention = DEFAULT_RETENTION,
    archive: Archive | None = None,
) -> Services:
    """Services over `store`. `encoders` makes an encoder of its id; `archive` is that of a store which has one."""
    schema = SchemaWatch(observer)
    directory = Directory(store.catalog, schema)
    models = Models(directory, store.snapshots, observer)
    contexts = ContextBuilder(directory, encoders, observer)
    pacer = Pacer(store.ledger)
    outages = Outages(ledger=store.ledger, observer=observer)
    return Services(
        route=RouteService(
            directory=directory,
            models=models,
            contexts=contexts,
            pacer=pacer,
            ledger=store.ledger,
            clock=clock,
            entropy=entropy,
            outages=outages,
            schema=schema,
            observer=observer,
        ),
        feedback=FeedbackService(directory=directory, pacer=pacer, ledger=store.ledger, clock=clock, schema=schema),
        admin=_administer(store, directory, models, pacer, encoders),
        budgets=BudgetService(directory=directory, pacer=pacer, ledger=store.ledger, clock=clock, schema=schema),
        previews=PreviewService(directory=directory, models=models, ledger=store.ledger, clock=clock),
        projections=ProjectionService(catalog=store.catalog, directory=directory, encoders=encoders),
        priors=PriorService(catalog=store.catalog, directory=directory, encoders=encoders),
        archives=ArchiveService(archive, store.catalog, clock, observer),
        learner=Learner(
            owner=entropy.token_bytes(8).hex(),
            directory=directory,
            models=models,
            events=store.events,
            snapshots=store.snapshots,
            clock=clock,
            observer=observer,
            retention=retention,
            schema=schema,
        ),
        sweeper=Sweeper(ledger=store.ledger, pacer=pacer, clock=clock, schema=schema, observer=observer),
        defaults=Defaults(ledger=store.ledger, pacer=pacer, clock=clock, schema=schema),
        outages=outages,
        directory=directory,
        models=models,
        contexts=contexts,
        schema=schema,
        store=store,
        clock=clock,
        observer=observer,
    )


def _administer(
    store: Store, directory: Directory, models: Models, pacer: Pacer, encoders: EncoderSource
) -> AdminService:
    return AdminService(
        catalog=store.catalog,
        directory=directory,
        models=models,
        pacer=pacer,
        ledger=store.ledger,
        events=store.events,
        snapshots=store.snapshots,
        encoders=encoders,
    )
