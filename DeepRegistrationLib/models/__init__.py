"""Networks with their weights: bundles, the methods a user can choose, and how a network is run on a pair."""
