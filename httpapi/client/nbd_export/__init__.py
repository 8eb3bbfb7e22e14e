"""An image as a disk that machines read in place: nbdkit over the service's ranges, for `drystone nbd`."""
