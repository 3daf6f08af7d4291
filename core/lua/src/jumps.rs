//! Jumps of instructions that are being made. Those to one place, which is not known yet, are a list: each has the distance of
//! the next one in the place of its own.

use crate::code::{self, MAX_SBX, NO_REG};
use crate::emit::NO_JUMP;
use crate::lexer::Made;
use crate::parser::Compiler;

impl Compiler<'_> {
    pub(crate) fn jump(&mut self) -> Made<i32> {
        let pending = std::mem::replace(&mut self.building().pending, NO_JUMP);
        let mut jump = self.emit_sbx(code::JMP, 0, NO_JUMP)? as i32;
        self.join_jumps(&mut jump, pending)?;
        Ok(jump)
    }

    pub(crate) fn conditional_jump(&mut self, op: u32, a: usize, b: usize, c: usize) -> Made<i32> {
        self.emit(op, a, b, c)?;
        self.jump()
    }

    pub(crate) fn fix_jump(&mut self, pc: usize, target: usize) -> Made<()> {
        let offset = target as i32 - (pc as i32 + 1);
        if offset.abs() > MAX_SBX {
            return Err(self.lexer.error("control structure too long"));
        }
        let instruction = &mut self.building().code[pc];
        *instruction = code::with_sbx(*instruction, offset);
        Ok(())
    }

    /// The next instruction, which jumps may come to.
    pub(crate) fn label(&mut self) -> usize {
        let pc = self.pc();
        self.building().last_target = pc as i32;
        pc
    }

    pub(crate) fn next_jump(&mut self, pc: usize) -> Made<i32> {
        // Lists are walked again and again.
        self.pay(1)?;
        let offset = code::sbx(self.building().code[pc]);
        Ok(if offset == NO_JUMP { NO_JUMP } else { pc as i32 + 1 + offset })
    }

    /// The instruction that decides on a jump: the test before it, or itself.
    pub(crate) fn control_of(&mut self, pc: usize) -> usize {
        let is_tested = pc >= 1 && code::is_test(code::op(self.building().code[pc - 1]));
        if is_tested { pc - 1 } else { pc }
    }

    /// Returns whether a jump of the list gives no value.
    pub(crate) fn needs_value(&mut self, mut list: i32) -> Made<bool> {
        while list != NO_JUMP {
            let control = self.control_of(list as usize);
            if code::op(self.building().code[control]) != code::TESTSET {
                return Ok(true);
            }
            list = self.next_jump(list as usize)?;
        }
        Ok(false)
    }

    pub(crate) fn patch_test(&mut self, jump: usize, register: usize) -> bool {
        let control = self.control_of(jump);
        let instruction = self.building().code[control];
        if code::op(instruction) != code::TESTSET {
            return false;
        }
        self.building().code[control] = if register != NO_REG && register != code::b(instruction) {
            code::with_a(instruction, register)
        } else {
            code::make_abc(code::TEST, code::b(instruction), 0, code::c(instruction))
        };
        true
    }

    pub(crate) fn remove_values(&mut self, mut list: i32) -> Made<()> {
        while list != NO_JUMP {
            self.patch_test(list as usize, NO_REG);
            list = self.next_jump(list as usize)?;
        }
        Ok(())
    }

    pub(crate) fn patch_list_aux(
        &mut self,
        mut list: i32,
        with_value: usize,
        register: usize,
        without: usize,
    ) -> Made<()> {
        while list != NO_JUMP {
            let next = self.next_jump(list as usize)?;
            let target = if self.patch_test(list as usize, register) { with_value } else { without };
            self.fix_jump(list as usize, target)?;
            list = next;
        }
        Ok(())
    }

    pub(crate) fn patch_list(&mut self, list: i32, target: usize) -> Made<()> {
        if target == self.pc() {
            return self.patch_to_here(list);
        }
        self.patch_list_aux(list, target, NO_REG, target)
    }

    pub(crate) fn patch_to_here(&mut self, list: i32) -> Made<()> {
        self.label();
        let mut pending = self.building().pending;
        self.join_jumps(&mut pending, list)?;
        self.building().pending = pending;
        Ok(())
    }

    /// Appends the jumps of `other` to `list`.
    pub(crate) fn join_jumps(&mut self, list: &mut i32, other: i32) -> Made<()> {
        if other == NO_JUMP {
            return Ok(());
        }
        if *list == NO_JUMP {
            *list = other;
            return Ok(());
        }
        let mut last = *list;
        loop {
            let next = self.next_jump(last as usize)?;
            if next == NO_JUMP {
                break;
            }
            last = next;
        }
        self.fix_jump(last as usize, other as usize)
    }
}
