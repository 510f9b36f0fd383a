"""Classification from a ticket: does what was found in pre-training transfer?"""
