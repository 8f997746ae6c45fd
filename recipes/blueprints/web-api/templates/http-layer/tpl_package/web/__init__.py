"""HTTP without a framework: messages, problems, routing, the server.

Knows nothing of tpl_items and orders.
"""
