"""A YOLO-style detector's head: spatial pyramid pooling, path aggregation, three heads (Bochkovskiy et al. 2020)."""
