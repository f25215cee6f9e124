# SPDX-License-Identifier: BSD-3-Clause
# Which lines run in the unit tests and the simulator; FILES=1 names the others.
.PHONY: coverage coverage-run
coverage:
	$(MAKE) CC=gcc OPTIMIZE="-O1 -g" SANITIZE=coverage coverage-run

coverage-run: $(UNIT) $(SIM)
	find $(O)/obj -name "*.gcda" -delete
	$(UNIT) >$(O)/unit.log 2>&1 || { tail -n 20 $(O)/unit.log; exit 1; }
	$(SIM) -s 1 -n 500 >$(O)/sim.log 2>&1 || \
		{ tail -n 20 $(O)/sim.log; exit 1; }
	tests/coverage $(if $(FILES),--files) $(O)/obj
