"""Images with objects or label maps in them: data sets of dense tasks, their readers, joint augmentation and loader."""
