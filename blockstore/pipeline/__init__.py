"""The upload pipeline: crew, slabs, taps."""
