"""What is measured on features and predictions: accuracy, k-nearest neighbours, retrieval."""
