# Every command that a person types. The work is in the scripts that the recipes call; `make` alone prints what there is.
#
# Variables for the image, given as `make image BASE=debian`; make hands them on to the scripts:
#   BASE=auto|raspios|debian   where kernel and firmware come from
#   VERSION=…                  the version in the image's name; the workspace's by default
#   SEQ=7                      the release whose server it has, below which its boxes install nothing; none by default
#   UPDATE_ROOT=root.json      whose updates the image will take; the builder's own by default
#   PROFILE=release|dev        dev compresses fast and lets its developer in, for people who work on the image
#   LOCK=strict|prefer|off     whether the packages must be those of image/lock; prefer gives way where they are no longer to be had
#   MACHINE=virt|raspi4b       the machine that test-image boots
#   PART=updates|update-cuts|bad-cards   of its boots only those with updates, with power cuts during one, or of bad cards
.DEFAULT_GOAL := help
.PHONY: help image server-arm64 client-windows client-mac test test-image test-long run bench bench-boot bench-update bench-tuning lock check clean

install := image/toolchain/install

help: # prints this list
	@sed --quiet --regexp-extended 's/^([a-z0-9-]+):.* # (.*)/  make \1\t\2/p' Makefile | expand --tabs=22

image: # builds dist/posthouse-<version>-pi4.img.xz, installing what it needs (BASE=, VERSION=, SEQ=, PROFILE=, UPDATE_ROOT=)
	@$(install) image
	@image/build

server-arm64: # cross-compiles only the server and its client for the Pi
	@image/toolchain/server-arm64

client-windows: # cross-compiles the client for Windows: target/x86_64-pc-windows-gnu/release/posthouse.exe
	@image/toolchain/client-windows

client-mac: # cross-compiles the client for Apple silicon: target/aarch64-apple-darwin/release/posthouse
	@image/toolchain/client-mac

test: # runs every test that needs no image, installing what it needs
	@$(install) test image
	@tests/run

test-image: # boots the image in QEMU and tests it from outside; builds it if it is not there (MACHINE=, PART=)
	@$(install) boot $(if $(filter-out 0,$(LONG)),test)
	@tests/image/run

test-long: # runs what takes hours: more seeds and cycles, 20 power cuts, bad cards, a Pi 4B's machine, two builds
	@$(install) test image boot
	@tests/long

run: # runs the server on this machine, with its data in target/run
	@cargo run --package posthouse-server -- --data-dir target/run --demo

bench: # measures the server beside a bare relay; some 20 minutes (BENCH=NAME for one scenario, QUICK=1 for a smoke test)
	@$(install) test
	@tests/load/run

bench-boot: # measures how long the image boots, beside an untrimmed Debian with its kernel; builds both if they are not there
	@$(install) image boot
	@tests/image/run bench

bench-update: # measures what a thousand connected clients notice of an update of the server (CLIENTS=)
	@$(install) test
	@tests/updates/bench

bench-tuning: # measures what real-time threads and kernel settings bring, in four minutes (root; ROUNDS=)
	@$(install) bench
	@tests/tuning/run

lock: # renews the package lock of the image (BASE=; by default of every base whose archive answers)
	@image/renew-lock

check: # checks format, lints, licences and shell scripts: what CI runs first
	@$(install) check
	@tests/tidy/check

clean: # removes what was built here: target/ and dist/ (not the cache in ~/.cache/posthouse)
	@rm --recursive --force target dist
