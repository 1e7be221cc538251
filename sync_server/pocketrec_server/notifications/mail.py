"""Send a message as an e-mail of plain text, by SMTP."""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from pocketrec_server.errors import DeliveryFailedError
from pocketrec_server.notifications.message import Message
from pocketrec_server.notifications.settings import STARTTLS, TLS, Mail

TIMEOUT_S = 10.0
_PERMANENT = 500


def send(mail: Mail, message: Message, timeout_s: float = TIMEOUT_S) -> None:
    """Send a message to all recipients.

    Raises:
        DeliveryFailedError: no connection, no answer in time, no TLS, a wrong password, or refused
            by the server.
    """
    try:
        with _connected(mail, timeout_s) as connection:
            if mail.user:
                connection.login(mail.user, mail.password)
            refused = connection.send_message(email(mail, message), mail.sender, mail.recipients)
    except smtplib.SMTPResponseException as err:
        text = err.smtp_error.decode(errors="replace") if isinstance(err.smtp_error, bytes) else ""
        final = err.smtp_code >= _PERMANENT
        raise DeliveryFailedError(f"{mail.host}: {err.smtp_code} {text}", final=final) from err
    except smtplib.SMTPRecipientsRefused as err:
        final = all(code >= _PERMANENT for code, _ in err.recipients.values())
        raise DeliveryFailedError(f"{mail.host}: all recipients refused", final=final) from err
    except (OSError, smtplib.SMTPException) as err:
        raise DeliveryFailedError(f"{mail.host}: {err or type(err).__name__}") from err
    if refused:  # the others have it: another try would mail them twice
        names = ", ".join(sorted(refused))
        raise DeliveryFailedError(f"{mail.host}: refused for {names}", final=True)


def email(mail: Mail, message: Message) -> EmailMessage:
    """Return a message as an e-mail."""
    one = EmailMessage()
    one["From"], one["To"] = mail.sender, ", ".join(mail.recipients)
    one["Subject"] = f"PocketRec: {''.join(c if c.isprintable() else '?' for c in message.subject)}"
    one["Date"] = format_datetime(datetime.fromtimestamp(message.at_utc, UTC))
    one["Message-ID"] = f"<{message.id}@pocketrec>"
    lines = [f"{message.subject}.", ""]
    lines += [f"Channel: {message.channel}"] * bool(message.channel)
    lines += [f"Release: {message.manifest}"] * bool(message.manifest)
    lines += [message.link] * bool(message.link)
    one.set_content("\n".join(lines) + "\n")
    return one


def _connected(mail: Mail, timeout_s: float) -> smtplib.SMTP:
    if mail.security == TLS:
        trusted = ssl.create_default_context()
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=timeout_s, context=trusted)
    connection = smtplib.SMTP(mail.host, mail.port, timeout=timeout_s)
    if mail.security == STARTTLS:
        try:
            connection.starttls(context=ssl.create_default_context())
        except BaseException:
            connection.close()
            raise
    return connection
