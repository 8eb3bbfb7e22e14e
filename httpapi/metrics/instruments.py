"""Every figure that is counted where things happen, by its name. The README's table has them all, with what they mean.

Names end in their unit. A label has few values, and never one that a caller can choose: routes are templates.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
REGISTRY: Final = CollectorRegistry()

REQUESTS: Final = Counter(
    "drystone_requests",
    "Requests answered, or given up by their client.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "drystone_request_seconds",
    "From a request's head to the end of its answer.",
    ("method", "route"),
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0),
    registry=REGISTRY,
)
WORKER_REQUESTS: Final = Counter(
    "drystone_worker_requests", "The same requests, by the worker that took them.", ("worker",), registry=REGISTRY
)
IN_FLIGHT: Final = Gauge(
    "drystone_requests_in_flight",
    "Requests that are at work, but for scrapes.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
RECEIVED: Final = Counter("drystone_image_received_bytes", "Image data that came in.", registry=REGISTRY)
SENT: Final = Counter("drystone_image_sent_bytes", "Image data that went out.", registry=REGISTRY)

UPLOADS: Final = Counter("drystone_uploads", "Uploads that became an image's data.", registry=REGISTRY)
UPLOAD_BLOCKS: Final = Counter(
    "drystone_upload_blocks", "Their blocks: new, held (already there) or hole.", ("kind",), registry=REGISTRY
)
UPLOAD_BYTES: Final = Counter("drystone_upload_bytes", "The same in bytes of the image.", ("kind",), registry=REGISTRY)
STORED_BYTES: Final = Counter(
    "drystone_upload_stored_bytes", "What they added to packs, compressed.", registry=REGISTRY
)
COPIES: Final = Counter(
    "drystone_copies",
    "What happened to copies of images in stores: failed, lost, found or put back.",
    ("store", "what"),
    registry=REGISTRY,
)
STORE_UP: Final = Gauge(
    "drystone_store_up",
    "Whether a store can be used now, 1 or 0; 0 if any worker finds it down.",
    ("store",),
    multiprocess_mode="livemin",
    registry=REGISTRY,
)
QUOTA_REFUSALS: Final = Counter(
    "drystone_quota_refusals", "Requests refused because of a quota of their project.", ("quota",), registry=REGISTRY
)
TOKEN_VALIDATIONS: Final = Counter(
    "drystone_token_validations",
    "Tokens that were to be checked, by how that was answered.",
    ("result",),
    registry=REGISTRY,
)

SLAB_BUDGET: Final = Gauge(
    "drystone_slab_budget_bytes",
    "Memory set aside for image data in transit.",
    ("use",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
SLAB_TAKEN: Final = Gauge(
    "drystone_slab_taken_bytes",
    "How much of it is promised or in use.",
    ("use",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
SLAB_QUEUED: Final = Gauge(
    "drystone_slab_waiting_transfers",
    "Transfers that wait to be let in.",
    ("use",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
LOOP_LAG: Final = Histogram(
    "drystone_loop_lag_seconds",
    "How late the event loop came back to a timer.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
    registry=REGISTRY,
)
GENERATION_SECONDS: Final = Histogram(
    "drystone_generation_close_seconds",
    "Making a generation durable: syncs, rows, journals.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
    registry=REGISTRY,
)
INDEX_WAIT: Final = Gauge(
    "drystone_index_wait_seconds",
    "How long the index's present change has taken or waited, the longest of all.",
    multiprocess_mode="livemax",
    registry=REGISTRY,
)
SWEEPS: Final = Counter("drystone_sweeps", "Sweeps for what dead processes left.", ("result",), registry=REGISTRY)
REQUEUED: Final = Counter(
    "drystone_requeued_images", "Images queued again because their uploader had died.", registry=REGISTRY
)
COLLECTIONS: Final = Counter(
    "drystone_collections", "Collections that this server started on schedule.", ("result",), registry=REGISTRY
)
COLLECTED_BYTES: Final = Counter("drystone_collected_bytes", "What they gave back to the disk.", registry=REGISTRY)
DAMAGE_MET: Final = Counter(
    "drystone_damage_met",
    "What readers met: damaged blocks, manifests of which a copy was wrong, blocks wrongly condemned.",
    ("what",),
    registry=REGISTRY,
)
PACKS_NEVER_VERIFIED: Final = Gauge(
    "drystone_packs_never_verified",
    "Packs that no scrub has read yet.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
PACKS_VERIFIED_SINCE: Final = Gauge(
    "drystone_packs_verified_since_seconds",
    "When the pack was read that no scrub has read for longest, as a Unix time; 0 without one.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
SCRUB_ENDED: Final = Gauge(
    "drystone_scrub_ended_seconds",
    "When the last whole scrub ended, as a Unix time; 0 for never.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
BAD_BLOCKS: Final = Gauge(
    "drystone_bad_blocks",
    "Blocks that are known to be damaged.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
HARMED_IMAGES: Final = Gauge(
    "drystone_harmed_images",
    "Images that cannot be read whole.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
PACK_BYTES: Final = Gauge(
    "drystone_pack_bytes",
    "Bytes in pack files, looked at once a minute.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
PACKS: Final = Gauge(
    "drystone_packs", "Pack files, looked at once a minute.", multiprocess_mode="livemostrecent", registry=REGISTRY
)
