"""Notify operators by webhook and e-mail of what the admin site's attention line shows.

In: a TOML file with the addresses, secrets from the environment, the entries of the attention line.
Out: signed HTTP requests and e-mails, with retries; the table of deliveries.
Read in this order: settings.py, message.py, outbox.py, webhook.py and mail.py, watch.py.
Rule: the database decides who sends, so that several workers and machines send each message once.
"""
