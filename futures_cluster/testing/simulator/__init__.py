"""A cluster under a virtual clock: the real machines; time, network, work and faults are simulated.

``python -m futures_cluster.testing.simulator`` runs one workload and prints how it went.
"""

from futures_cluster.testing.simulator.faults import Faults
from futures_cluster.testing.simulator.network import NetworkModel
from futures_cluster.testing.simulator.simulation import Simulation, Stuck
from futures_cluster.testing.simulator.work import Work
from futures_cluster.testing.simulator.workloads import binary_tree, independent

__all__ = ["Faults", "NetworkModel", "Simulation", "Stuck", "Work", "binary_tree", "independent"]
