"""ObsPy's FDSN client gets credentials for a token and uses them.

client.py: URL is the data centre, TOKEN and CLEARTEXT are files with tokens, STRANGER one of an unknown key.
"""

import os
import warnings

from obspy import UTCDateTime
from obspy.clients.fdsn import Client
from obspy.clients.fdsn.header import FDSNException, FDSNUnauthorizedException

warnings.simplefilter("ignore")
url = os.environ["URL"]
asked = dict(
    network="Z3",
    station="A001A",
    location="*",
    channel="HHZ",
    starttime=UTCDateTime(2016, 1, 1),
    endtime=UTCDateTime(2016, 1, 1, 0, 1),
)


def fails(function, *kinds):
    try:
        function()
    except kinds as error:
        return error
    raise SystemExit(f"FAILED: {function} did not fail")


for what in ("TOKEN", "CLEARTEXT"):
    client = Client(url, eida_token=os.environ[what])
    stream = client.get_waveforms(**asked)
    assert stream[0].id == "Z3.A001A.00.HHZ", stream
    print(f"ok: ObsPy gets credentials for the {what.lower()} message and waveforms with them")

with open(os.environ["TOKEN"]) as file:
    client = Client(url)
    client.set_eida_token(file.read())
    assert len(client.get_waveforms(**asked)) == 1
print("ok: ObsPy takes the token as a text")

client = Client(url, user="AAAAAAAAAAAAAA", password="BBBBBBBBBBBBBB")
fails(lambda: client.get_waveforms(**asked), FDSNUnauthorizedException, FDSNException)
print("ok: other credentials get no waveforms")

error = fails(lambda: Client(url, eida_token=os.environ["STRANGER"]), Exception)
print(f"ok: a token of an unknown key is refused: {type(error).__name__}")
