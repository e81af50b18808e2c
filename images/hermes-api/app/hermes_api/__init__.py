"""Hermes: a registry of agents, and a queue of tasks that are dispatched to them by trust."""

__version__ = "1.0.0"
