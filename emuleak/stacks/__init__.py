"""Stacks of the guest: call-frame information, the unwinder, and the table of stacks met."""
