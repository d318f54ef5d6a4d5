"""Off-policy evaluation: what a policy would have earned and spent, from the decisions that another one made.

Every value is the mean over the distribution from which the logged requests were drawn, not over exactly those
requests; intervals count the luck of both the requests and the draws of the arms.
"""
