# Unit tests of the pure files, and the tools made of them.  They are built
# against nginx's headers and a small stand-in for its pools and strings
# (tools/ngx_stub.c).  Each *.mk beside this file adds to UNIT_TESTS (programs
# that print TAP and exit non-zero on failure) and to TOOLS.

PURE_INC  = -I$(NGX)/src/core -I$(NGX)/src/event -I$(NGX)/src/event/modules \
            -I$(NGX)/src/os/unix -I$(NGX)/objs -Ingx_unit_module -Itools \
            -It/unit
PURE_HDR  = $(wildcard ngx_unit_module/*.h tools/*.h t/unit/*.h)
PURE_CC   = $(CC) -g $(WARN) $(PURE_INC) $(UNIT_CFLAGS)
SAN       = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer

UNIT_TESTS =
TOOLS      =

include $(filter-out t/unit/unit.mk,$(wildcard t/unit/*.mk))

tools: $(TOOLS)

unit: $(UNIT_TESTS)
	for t in $(UNIT_TESTS); do ./$$t || exit 1; done

$(UNIT_TESTS) $(TOOLS): $(PURE_HDR) tools/ngx_stub.c $(NGX)/objs/Makefile
