"""Content-addressed blocks: packs, index, manifests, leases and the pipeline; knows no image, owner or HTTP."""
