"""The versions, in one place: of the distribution, and of the contract that it has."""

__version__ = "0.1.0"

CONTRACT_VERSION = "1.1"
"""MAJOR.MINOR; the head of `optimization_service.proto` says what they mean.

The first change of `protos/stratsweep/v1/` after a release raises MINOR; MAJOR is the package's.
"""
