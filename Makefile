# make            the dynamic module, build/ngx_http_unit_module.so
# make tools      unit-jwt and unit-policy in build/
# make unit       build and run the unit tests of the pure files
# make static     nginx from Debian's source with the module linked in
# make clean
#
# CC=clang and CFLAGS=... do what they say.  Everything is built under build/.

CC       ?= cc
BUILD    ?= build
NGX_DEV  ?= /usr/share/nginx/src

WARN      = -Wall -Wextra -Wno-unused-parameter -Wformat=2 -Wshadow -Wvla \
            -Wmissing-prototypes -Werror
OPT       = -g -O2 -fstack-protector-strong -fPIC -D_FORTIFY_SOURCE=2
UNIT_CFLAGS ?=
NGX       = $(BUILD)/nginx
MODULE    = $(BUILD)/ngx_http_unit_module.so
SRC       = $(wildcard ngx_unit_module/*.[ch] lua-free-filters/*.[ch])
ROOT     := $(CURDIR)

all: module tools

module: $(MODULE)

# changes only when a source file comes or goes: configure must run again then
$(BUILD)/sources: FORCE
	@mkdir -p $(BUILD)
	@ls ngx_unit_module/*.c lua-free-filters/*.c > $@.new 2> /dev/null || :
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

FORCE:

$(NGX)/objs/Makefile: config Makefile $(BUILD)/sources
	rm -rf $(NGX)
	cp -r $(NGX_DEV) $(NGX)
	cd $(NGX) && . ./conf_flags && ./configure "$${NGX_CONF_FLAGS[@]}" \
	    --with-cc="$(CC)" --with-cc-opt="$(OPT) $(WARN) $(UNIT_CFLAGS)" \
	    --add-dynamic-module=$(ROOT) > configure.log \
	    || { tail -n 5 configure.log; rm -f objs/Makefile; exit 1; }

$(MODULE): $(NGX)/objs/Makefile $(SRC)
	$(MAKE) -s -C $(NGX) modules
	cp $(NGX)/objs/ngx_http_unit_module.so $@

include t/unit/unit.mk

clean:
	rm -rf $(BUILD)

.PHONY: all module tools unit static clean FORCE

SHELL = /bin/bash
