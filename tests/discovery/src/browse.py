"""Watches _posthouse._tcp by python-zeroconf and prints a line for each change: + NAME HOST PORT ADDRESSES, or - NAME."""

import sys

from zeroconf import IPVersion, ServiceBrowser, ServiceListener, Zeroconf

TYPE = "_posthouse._tcp.local."


class Listener(ServiceListener):
    def add_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=2000)
        if info is None:
            print("?", name, flush=True)
            return
        text = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
        print("+", name, info.server, info.port, ",".join(info.parsed_scoped_addresses()), text, flush=True)

    def remove_service(self, zc, kind, name):
        print("-", name, flush=True)

    def update_service(self, zc, kind, name):
        self.add_service(zc, kind, name)


zeroconf = Zeroconf(ip_version={"4": IPVersion.V4Only, "6": IPVersion.V6Only}[sys.argv[1]])
browser = ServiceBrowser(zeroconf, TYPE, Listener())
print("watching", flush=True)
sys.stdin.read()
zeroconf.close()
