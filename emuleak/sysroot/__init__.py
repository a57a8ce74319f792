"""Sysroots: a directory with the ld.so, libc and libraries of some distribution, made of packages that the user has."""
