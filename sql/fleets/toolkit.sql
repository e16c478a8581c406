SELECT dbint_init();
