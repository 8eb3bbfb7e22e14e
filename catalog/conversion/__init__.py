"""Foreign programs that read what others sent, in a cage: conversion by qemu-img, and decompression."""
