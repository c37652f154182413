# make            the dynamic module, build/ngx_http_unit_module.so
# make tools      unit-jwt and unit-policy in build/
# make unit       build and run the unit tests of the pure files
# make static     nginx from Debian's source with the module linked in,
#                 build/nginx-static/objs/nginx.  With SANITIZE=1 under ASAN
#                 and UBSAN, build/nginx-sanitize/objs/nginx; VALGRIND=1 and
#                 COVERAGE=1 likewise.  NGX_SRC=DIR takes another nginx source;
#                 "script/setup --source" allows to fetch Debian's
# make clean
#
# CC=clang and CFLAGS=... do what they say.  Everything is built under build/.

CC       ?= cc
BUILD    ?= build
NGX_DEV  ?= /usr/share/nginx/src
NGX_SRC  ?=
SHELL     = /bin/bash
GOALS    := $(or $(MAKECMDGOALS),all)

ifndef UNIT_LOCKED

# one make at a time in one build directory: tests and people run it at will
$(firstword $(GOALS)): FORCE
	@mkdir -p $(BUILD)
	@flock $(BUILD)/lock $(MAKE) --no-print-directory UNIT_LOCKED=1 $(GOALS)

$(filter-out $(firstword $(GOALS)),$(GOALS)): $(firstword $(GOALS)) ;

FORCE:

else

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
	$(MAKE) -s -C $(NGX) -f objs/Makefile modules
	cp $(NGX)/objs/ngx_http_unit_module.so $@.new
	mv $@.new $@

include t/unit/unit.mk

unit-programs: $(UNIT_TESTS)

list-unit-programs:
	@echo $(UNIT_TESTS)

# Pools hide overflows from ASAN and valgrind unless every allocation is one of
# its own.  nginx's own files do not pass all of UBSAN: the tests overlook those
# (src/).  t/plant has mistakes which these two must find.
PLANT      = -DNGX_HTTP_UNIT_PLANT=1

ifdef SANITIZE
STATIC     = $(BUILD)/nginx-sanitize
STATIC_OPT = -g -O1 -fPIC -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 \
             -fsanitize=address,undefined $(PLANT)
STATIC_LD  = -fsanitize=address,undefined
STATIC_ADD = --add-module=$(ROOT)/t/plant
else ifdef VALGRIND
STATIC     = $(BUILD)/nginx-valgrind
STATIC_OPT = -g -O1 -fPIC -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 $(PLANT)
STATIC_LD  =
STATIC_ADD = --add-module=$(ROOT)/t/plant
else ifdef COVERAGE
STATIC     = $(BUILD)/nginx-coverage
STATIC_OPT = -g -O0 -fPIC --coverage
STATIC_LD  = --coverage
else
STATIC     = $(BUILD)/nginx-static
STATIC_OPT = $(OPT)
STATIC_LD  = -Wl,-z,relro -Wl,-z,now
endif

# nginx's source: NGX_SRC, or fetched once
NGX_GET    = $(if $(NGX_SRC),,$(BUILD)/src)

static: $(STATIC)/objs/nginx

$(BUILD)/src:
	mkdir -p $@.new
	cd $@.new && apt-get -qq source nginx
	mv $@.new $@

$(STATIC)/objs/Makefile: config Makefile $(BUILD)/sources | $(NGX_GET)
	rm -rf $(STATIC)
	cp -r $(or $(NGX_SRC),$(BUILD)/src/nginx-*/) $(STATIC)
	. $(NGX_DEV)/conf_flags && cd $(STATIC) \
	    && ./configure "$${NGX_CONF_FLAGS[@]}" --with-cc="$(CC)" \
	    --with-cc-opt="$(STATIC_OPT) $(UNIT_CFLAGS)" \
	    --with-ld-opt="$(STATIC_LD)" --add-module=$(ROOT) $(STATIC_ADD) \
	    > configure.log \
	    || { tail -n 5 configure.log; rm -f objs/Makefile; exit 1; }

$(STATIC)/objs/nginx: $(STATIC)/objs/Makefile $(SRC) $(wildcard t/plant/*)
	$(MAKE) -s -C $(STATIC) -f objs/Makefile

clean:
	rm -rf $(BUILD)

.PHONY: all module tools unit unit-programs list-unit-programs static clean \
        FORCE

endif
