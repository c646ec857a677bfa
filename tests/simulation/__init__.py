"""A simulation that explores: the way of a change in virtual time, with faults and interleavings by a seed."""
