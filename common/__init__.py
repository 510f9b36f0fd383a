"""What the folders share: tickets, training, data, models, metrics, studies, configuration and command line."""

__version__ = "0.1.0"
