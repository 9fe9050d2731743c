"""A cluster under a virtual clock: the real machines; time, network, work and faults are simulated."""
