"""The names that vendors give to columns, which of them are taken, and what is said of the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stratsweep_server.market_data.column_names import (
    _CLOCKS,
    _DATES,
    _NAMES,
    _TIMES,
    _TIMES_ALONE,
    ColumnNamesError,
    _plain,
    column_positions,
)

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "market-data.md"

PRICES = ["open", "high", "low", "close"]

# By vendor: the first line of its files, then the columns that are taken for time (or date and
# clock), open, high, low, close, volume, and what else there is.
VENDORS = {
    "Yahoo": ("Date,Open,High,Low,Close,Adj Close,Volume", "Date Open High Low Close Volume"),
    "Stooq": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "<DATE>+<TIME> <OPEN> <HIGH> <LOW> <CLOSE> <VOL>",
    ),
    "Stooq, Polish": (
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
        "Data Otwarcie Najwyzszy Najnizszy Zamkniecie Wolumen",
    ),
    "MetaStock": (
        "<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "<DTYYYYMMDD> <OPEN> <HIGH> <LOW> <CLOSE> <VOL>",
    ),
    "Finam": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "<DATE>+<TIME> <OPEN> <HIGH> <LOW> <CLOSE> <VOL>",
    ),
    "MOEX": (
        "open,close,high,low,value,volume,begin,end",
        "begin open high low close volume",
    ),
    "Binance": (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume",
        "open_time open high low close volume",
    ),
    "python-binance": (
        "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades",
        "Open~time Open High Low Close Volume",
    ),
    "Bybit": (
        "startTime,openPrice,highPrice,lowPrice,closePrice,volume,turnover",
        "startTime openPrice highPrice lowPrice closePrice volume",
    ),
    "Bybit, older": (
        "start_at,symbol,period,open,high,low,close,volume,turnover",
        "start_at open high low close volume",
    ),
    "OKX": (
        "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm",
        "ts o h l c vol",
    ),
    "Bitfinex": ("MTS,OPEN,CLOSE,HIGH,LOW,VOLUME", "MTS OPEN HIGH LOW CLOSE VOLUME"),
    "BitMEX": (
        "timestamp,symbol,open,high,low,close,trades,volume,vwap,lastSize,turnover",
        "timestamp open high low close volume",
    ),
    "KuCoin": ("time,open,close,high,low,volume,turnover", "time open high low close volume"),
    "Kraken": ("time,open,high,low,close,vwap,volume,count", "time open high low close volume"),
    "Coinbase": ("start,low,high,open,close,volume", "start open high low close volume"),
    "Bitstamp on Kaggle": (
        "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
        "Timestamp Open High Low Close Volume_(BTC)",
    ),
    "CryptoDataDownload": (
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        "date open high low close Volume~BTC",
    ),
    "CryptoDataDownload, only unix": (
        "Unix,Symbol,Open,High,Low,Close,Volume USDT,Volume ETH,tradecount",
        "Unix Open High Low Close Volume~ETH",
    ),
    "CoinMarketCap": (
        "timeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;timestamp",
        "timestamp open high low close volume",
    ),
    "CoinAPI": (
        "time_period_start,time_open,price_open,price_high,price_low,price_close,volume_traded",
        "time_period_start price_open price_high price_low price_close volume_traded",
    ),
    "Polygon": (
        "ticker,volume,open,close,high,low,window_start,transactions",
        "window_start open high low close volume",
    ),
    "Polygon, one letter": ("v,vw,o,c,h,l,t,n", "t o h l c v"),
    "Alpaca": (
        "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
        "timestamp open high low close volume",
    ),
    "Databento": (
        "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
        "ts_event open high low close volume",
    ),
    "Tiingo": (
        "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash",
        "date open high low close volume",
    ),
    "Alpha Vantage": (
        "timestamp,open,high,low,close,volume",
        "timestamp open high low close volume",
    ),
    "Alpha Vantage, from JSON": (
        ",1. open,2. high,3. low,4. close,5. adjusted close,6. volume",
        " 1.~open 2.~high 3.~low 4.~close 6.~volume",
    ),
    "EODHD": (
        "Date,Open,High,Low,Close,Adjusted_close,Volume",
        "Date Open High Low Close Volume",
    ),
    "Quandl": (
        "Date,Open,High,Low,Close,Volume,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close",
        "Date Open High Low Close Volume",
    ),
    "Sharadar": (
        "ticker,date,open,high,low,close,volume,closeadj,closeunadj,lastupdated",
        "date open high low close volume",
    ),
    "Nasdaq": ("Date,Close/Last,Volume,Open,High,Low", "Date Open High Low Close/Last Volume"),
    "Investing.com": (
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        "Date Open High Low Price Vol.",
    ),
    "Bloomberg": (
        "Dates,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME",
        "Dates PX_OPEN PX_HIGH PX_LOW PX_LAST PX_VOLUME",
    ),
    "Refinitiv": (
        "Exchange Date,Close,Net,%Chg,Open,Low,High,Volume",
        "Exchange~Date Open High Low Close Volume",
    ),
    "NSE": (
        "Date ,series ,OPEN ,HIGH ,LOW ,PREV. CLOSE ,ltp ,close ,vwap ,VOLUME ,VALUE ",
        "Date~ OPEN~ HIGH~ LOW~ close~ VOLUME~",
    ),
    "Dukascopy": ("Gmt time,Open,High,Low,Close,Volume", "Gmt~time Open High Low Close Volume"),
    "Dukascopy, local": (
        "Local time,Open,High,Low,Close,Volume",
        "Local~time Open High Low Close Volume",
    ),
    "MetaTrader 5": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        "<DATE>+<TIME> <OPEN> <HIGH> <LOW> <CLOSE> <VOL>",
    ),
    "MetaTrader 5 in Python": (
        "time,open,high,low,close,tick_volume,spread,real_volume",
        "time open high low close real_volume",
    ),
    "TradingView": ("time,open,high,low,close,Volume,Volume MA", "time open high low close Volume"),
    "TradeStation": (
        '"Date","Time","Open","High","Low","Close","Vol","OI"',
        "Date+Time Open High Low Close Vol",
    ),
    "AmiBroker": (
        "Ticker,Date/Time,Open,High,Low,Close,Volume",
        "Date/Time Open High Low Close Volume",
    ),
    "Interactive Brokers": (
        "date,open,high,low,close,volume,average,barCount",
        "date open high low close volume",
    ),
    "FirstRate": ("timestamp,open,high,low,close,volume", "timestamp open high low close volume"),
    "Kaggle's bitcoin": (
        "Unix Timestamp,Symbol,Open,High,Low,Close,Volume",
        "Unix~Timestamp Open High Low Close Volume",
    ),
}


def names_in(line: str) -> list[str]:
    separator = max(";\t,", key=line.count)
    return [name.strip('"') for name in line.split(separator)]


@pytest.mark.parametrize(("line", "expected"), VENDORS.values(), ids=VENDORS)
def test_the_columns_of_a_vendor_are_found(line, expected):
    names = names_in(line)
    found = {role: names[position] for role, position in column_positions(names).items()}
    time = found["time"] if "time" in found else f"{found['date']}+{found['clock']}"
    shown = [time, *(found[role] for role in (*PRICES, "volume"))]
    assert " ".join(name.replace(" ", "~") for name in shown) == expected


@pytest.mark.parametrize(
    ("line", "adjusted"),
    [
        (VENDORS["Tiingo"][0], "adjClose"),
        (VENDORS["Quandl"][0], "Adj. Close"),
        (VENDORS["Sharadar"][0], "closeadj"),
        (VENDORS["Alpha Vantage, from JSON"][0], "5. adjusted close"),
        (VENDORS["Yahoo"][0], "Adj Close"),
        (VENDORS["EODHD"][0], "Adjusted_close"),
    ],
)
def test_an_adjusted_close_of_a_vendor_is_found(line, adjusted):
    names = names_in(line)
    assert names[column_positions(names)["adjusted_close"]] == adjusted


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("close_time,open,high,low,close", "if close_time is the time, rename it to Time"),
        ("Day,Open,High,Low,Close", "if Day is the time, rename it to Time"),
        ("Date,Open,High,Low,Last", "if Last is the close, rename it to Close"),
        ("Date,Open,High,Low,Price", "if Price is the close, rename it to Close"),
        (
            "Date,Open,High,Low,Last,Change,Settle,Volume",
            "if Last, Settle is the close, rename it to Close",
        ),
        ("date,bidopen,bidclose,bidhigh,bidlow", "if bidopen is the open, rename it to Open"),
        ("date,mid.o,mid.h,mid.l,mid.c", "no column for open, high, low, close among date, mid.o"),
    ],
)
def test_a_column_that_may_be_the_one_is_suggested_and_not_taken(line, hint):
    with pytest.raises(ColumnNamesError) as caught:
        column_positions(names_in(line))
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "Date,Open,High,Low,Close,Volume BTC,Volume ETH",
        "Date,Open,High,Low,Close,Volume MA",
        "Date,Open,High,Low,Close,Volume USD",
        "Date,Open,High,Low,Close,volume_24h,volume_usd",
        "Date,Open,High,Low,Close,Volume Change,Volume USD",
        "Date,Open,High,Low,Close,volume_usd,volume_avg",
    ],
)
def test_a_volume_that_may_be_another_one_is_not_taken(line):
    assert "volume" not in column_positions(names_in(line))


def test_letters_mean_prices_only_together():
    with pytest.raises(ColumnNamesError, match="no column for time among t, open"):
        column_positions(names_in("t,open,high,low,close"))


def test_all_that_is_wrong_with_the_names_is_said_at_once():
    with pytest.raises(ColumnNamesError) as caught:
        column_positions(names_in("Open,Open,High,Volume,volume"))
    for problem in (
        "Open, Open are the same column",
        "Volume, volume are the same column",
        "no column for time, low, close",
    ):
        assert problem in str(caught.value)


def test_the_documents_list_the_names_that_are_taken():
    table = {}
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("| ") and line.count("|") == 3:
            column, names = line.strip("| ").split(" | ")
            table[column] = [_plain(name) for name in re.findall("`([^`]+)`", names.split(";")[0])]
    listed = {role.replace("_", " "): list(names) for role, names in _NAMES.items()}
    listed["ticks"] = listed.pop("tick volume")
    times = {"time": [*_TIMES, *_DATES, *_CLOCKS], "another time": list(_TIMES_ALONE)}
    assert {column: table.get(column) for column in (*times, *listed)} == times | listed
