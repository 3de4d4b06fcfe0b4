"""Pictures of label maps, predictions and flow fields."""
