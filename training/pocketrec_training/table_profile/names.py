"""Usual names of columns, by role: of the field's data sets, of shops and of logs."""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


USER = _words(
    """
    user uid customer client visitor reviewer member profile account buyer person reader listener
    viewer player shopper subscriber patient student author username userkey cust cookie device
    """
)
SESSION = _words("session sess visit query playlist")
ITEM = _words(
    """
    item iid product movie film asin parentasin sku stock isbn artist game anime book news article
    track song video business recipe content doc document goods good offer show app job course
    restaurant poi venue beer work photo ad target
    """
)
TIME = _words(
    """
    timestamp timestamps ts time datetime date unixreviewtime unixtime reviewtime invoicedate
    orderdate eventtime created createdat updatedat boughtat ratedat viewedat playedat watchedat
    occurredat loggedat clicktime reviewdate purchasedate when day timems utc localtime
    """
)
VALUE = _words(
    """
    rating ratings overall stars star score bookrating myscore grade weight quantity qty hours plays
    playcount listens count value amount playtime playtimeforever watchratio reward preference units
    """
)
RATING = _words("rating ratings overall stars star score bookrating myscore grade")
PLAYS = _words("hours plays playcount listens weight playtime playtimeforever")
QUANTITY = _words("quantity qty units")
INVOICE = _words("invoice invoiceno order orderno receipt transaction")
SPLIT = _words("split fold set subset partition phase usage")
PURCHASE = _words("quantity qty units invoice order")
EVENT = _words(
    """
    event eventtype eventname action actiontype behavior behaviour behaviortype behaviourtype
    interaction interactiontype activity type verb
    """
)
TITLE = _words(
    """
    title name itemname itemtitle movietitle booktitle gamename artistname productname producttitle
    productdescription description headline label songname trackname appname caption
    """
)
CATEGORIES = _words(
    """
    genres genre categories category categoryname maincategory cat cats class tag tags topic topics
    department section style producttype type subcategory brand
    """
)
CATEGORY_ORDER = ("genres", "genre", "categories", "category", "class", "tags", "topics")
"""Preferred names; `type`, `subcategory` and `brand` are used if nothing better is there."""
PRICE = _words("price unitprice listprice cost retailprice saleprice priceusd gbp usd eur")
YEAR = _words("year releaseyear yearofpublication publicationyear releasedyear")


def plain_name(name: str) -> str:
    """Return a name in lower case without marks, and without RecBole's type.

    >>> plain_name("user_id:token")
    'userid'
    """
    return re.sub(r"[\W_]+", "", name.partition(":")[0].casefold())


def stem(name: str) -> str:
    """Return a plain name without the ending of a key.

    >>> stem("Customer ID")
    'customer'
    """
    plain = plain_name(name)
    return re.sub(r"(?<=.{2})(id|ids|key|code|no|number|num|idx|index|hash|uuid|sha1)$", "", plain)


def is_named(name: str, words: frozenset[str]) -> bool:
    """Return whether a column's name is one of the words, as it is or as a key."""
    return plain_name(name) in words or stem(name) in words


def is_time_name(name: str) -> bool:
    """Return whether a name is usual for times."""
    plain = plain_name(name)
    return plain in TIME or plain.endswith(("timestamp", "datetime", "time", "date"))
