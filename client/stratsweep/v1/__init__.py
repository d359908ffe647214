"""Generated from protos/stratsweep/v1 by `make proto`. Do not edit."""
