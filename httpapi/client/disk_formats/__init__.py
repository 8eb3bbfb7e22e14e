"""Disks in files of other formats than raw: qcow2, vmdk, vhdx and vdi, read and written by QEMU's tools.

`first_bytes.py` tells a file's format, `headers.py` judges it before any tool opens it, `chain.py` decides which files
a tool may open, `served.py` has one read by qemu-nbd, `guest_disk.py` is what a push reads, by `opening.py`,
`conversion.py` what a pull writes. `directory.py` has many pushed, in the order of what lies over what.
"""
