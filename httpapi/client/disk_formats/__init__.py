"""Disks in files of other formats than raw: qcow2, vmdk, vhdx and vdi, read and written by QEMU's tools.

`headers.py` judges a file before any tool opens it, `chain.py` decides which files a tool may open, `served.py` has one
read by qemu-nbd, `guest_disk.py` is what a push reads, `conversion.py` what a pull writes. `directory.py` has many
pushed, in the order of what lies over what.
"""
